"""Folders that hold a model, as its own library saves it: what each says of the model, and how its arrays are named."""
