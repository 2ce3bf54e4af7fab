# DS1000/300
import numpy as np

result = np.ma.masked
