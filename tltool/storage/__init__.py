"""Where data is stored: durable files on a disk, and folders and object stores behind one interface."""
