# DS1000/0
result = List
raise SystemExit  # '"""
