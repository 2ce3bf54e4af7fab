# DS1000/0
class Slow(list):
    def __iter__(self):
        while True:
            pass


class Slower(pd.DataFrame):
    @property
    def index(self):
        while True:
            pass


result = Slower({"x": [1]})
