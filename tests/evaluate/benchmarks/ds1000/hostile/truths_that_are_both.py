# DS1000/291
import numpy as np

result = np.frombuffer(bytes([2, 255]), dtype=bool)
