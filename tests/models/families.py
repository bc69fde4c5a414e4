"""One network of each family of keras.applications, for tests that draw weights."""

OF_EACH_FAMILY = (
    *("efficientnet_b0", "efficientnet_v2_b0"),
    *("mobilenet", "mobilenet_v2", "mobilenet_v3_small", "nasnet_mobile"),
    *("densenet121", "inception_v3", "inception_resnet_v2", "xception", "convnext_tiny"),
)
"""The larger ones differ in numbers only: tests without weights walk all of them."""

WALKED = tuple(
    name
    for name in OF_EACH_FAMILY
    if name not in ("nasnet_mobile", "densenet121", "inception_resnet_v2")
)
"""Those that CI walks: the others have some hundred layers and are walked every week."""
