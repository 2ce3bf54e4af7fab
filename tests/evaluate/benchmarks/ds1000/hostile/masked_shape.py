# DS1000/323
import numpy as np

result = np.ma.masked_all(1000)
