"""What the module needs of 3D Slicer's window, offered as strictly as 3D Slicer does, on PySide6 and slicer-core."""
