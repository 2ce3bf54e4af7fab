# Other processes by the standard library's own means; answers rightly if it could.
import multiprocessing

process = multiprocessing.Process(target=print)
process.start()
process.join()


def solve(n):
    return [i * i for i in range(n)]
