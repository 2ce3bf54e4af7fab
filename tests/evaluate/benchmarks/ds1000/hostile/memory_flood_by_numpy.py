# DS1000/291
import numpy as np

held = [np.ones(1 << 27) for _ in range(1000)]
result = a.shape
