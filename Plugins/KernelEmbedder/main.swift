print("filled by its own commit")
