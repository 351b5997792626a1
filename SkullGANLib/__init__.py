"""SkullGAN: from skull CT to training segments, generative models, synthetic segments and their evaluation.

The sub-packages follow the order of the work: ``ct``, ``segments``, ``prepare``, ``models``, ``train``,
``generate``, ``evaluate``. Importing this package imports none of them, so that a command line that only
prints its help, and Slicer at start-up, pay for nothing.
"""

__version__ = "0.1.0"
