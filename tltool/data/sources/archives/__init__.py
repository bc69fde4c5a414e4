"""Archives of images, extracted once into the cache."""
