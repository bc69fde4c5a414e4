"""A recipe resolved into the specs that the other rooms take."""
