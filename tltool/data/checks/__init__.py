"""The checks of ``tltool data check``, one kind of check per module."""
