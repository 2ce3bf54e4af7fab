# DS1000/291
import numpy as np

result = np.zeros(1 << 27, dtype=np.uint8)
