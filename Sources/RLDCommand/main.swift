print("rld")
