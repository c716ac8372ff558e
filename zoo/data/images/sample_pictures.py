"""Photographs that other packages ship and that may be shown freely, for demo and benchmark."""

import importlib.util
import pathlib

PICTURES = (  # package, file
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "camera.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "motorcycle_left.png"),
    ("skimage.data", "rocket.jpg"),
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
)


def sample_pictures():
    """Finds eight photographs on this machine.

    Returns:
        List of paths.

    Raises:
        ModuleNotFoundError: If a package that ships them is not installed.
    """
    paths = []
    for package, file in PICTURES:
        try:
            folder = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            folder = None
        if folder is None:
            raise ModuleNotFoundError(
                f"The photographs come with the package {package.split('.')[0]}. Install "
                'them with pip install "lrcn-zoo[demo]", or caption your own: lrcn caption FILE'
            )
        paths.append(str(pathlib.Path(folder.origin).parent / file))
    return paths
