"""Where data is stored: durable files, and folders and object stores behind one interface."""
