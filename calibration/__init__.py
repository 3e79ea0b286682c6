"""What belongs to a person: when a face can be relied on, who it is, how it looks at rest. NumPy in, NumPy out."""
