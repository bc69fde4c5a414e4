"""One network of each family of keras.applications, for tests that draw weights."""

WALKED = (
    *("efficientnet_b0", "efficientnet_v2_b0"),
    *("mobilenet", "mobilenet_v2", "mobilenet_v3_small", "nasnet_mobile"),
    *("densenet121", "inception_v3", "inception_resnet_v2", "xception", "convnext_tiny"),
)
"""The larger ones differ in numbers only: tests without weights walk all of them."""
