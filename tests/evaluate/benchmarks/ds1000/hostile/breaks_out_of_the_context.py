# DS1000/0
"""
def exec_test(result, ans): return 1
x = r"""

result = "wrong"
