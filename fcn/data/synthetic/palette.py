"""Classes, colours and times of day of procedural scenes."""

import numpy as np

from fcn.data.synthetic.canvas import Array, Colour, Rng, rgb

CLASSES = ("sky", "mountain", "water", "ground", "road", "building", "tree", "pole", "car", "boat")
SKY, MOUNTAIN, WATER, GROUND, ROAD, BUILDING, TREE, POLE, CAR, BOAT = range(len(CLASSES))

BARK = (0.32, 0.23, 0.16)
LAMPLIGHT = (1.0, 0.84, 0.52)

COLOURS: dict[str, list[Colour]] = {
    "plaster": [(0.86, 0.80, 0.68), (0.80, 0.62, 0.46), (0.68, 0.42, 0.34), (0.88, 0.86, 0.82),
                (0.62, 0.66, 0.70), (0.84, 0.72, 0.48), (0.72, 0.56, 0.50)],
    "glass": [(0.46, 0.54, 0.60), (0.38, 0.44, 0.50)],
    "tiles": [(0.62, 0.30, 0.22), (0.50, 0.26, 0.22), (0.36, 0.36, 0.42), (0.56, 0.38, 0.28)],
    "paint": [(0.72, 0.14, 0.14), (0.90, 0.90, 0.90), (0.14, 0.22, 0.42), (0.58, 0.62, 0.66),
              (0.86, 0.66, 0.16), (0.12, 0.42, 0.44)],
    "leaves": [(0.24, 0.40, 0.14), (0.32, 0.46, 0.16), (0.20, 0.36, 0.18), (0.42, 0.48, 0.18)],
    "autumn": [(0.74, 0.44, 0.12), (0.66, 0.30, 0.12), (0.78, 0.58, 0.18), (0.42, 0.46, 0.16)],
    "needles": [(0.14, 0.28, 0.18), (0.18, 0.32, 0.18), (0.12, 0.26, 0.22)],
    "grass": [(0.36, 0.50, 0.20), (0.44, 0.54, 0.22), (0.50, 0.52, 0.26)],
    "stubble": [(0.56, 0.52, 0.26), (0.62, 0.54, 0.30)],
    "petals": [(0.96, 0.90, 0.92), (0.92, 0.32, 0.26), (0.98, 0.84, 0.24), (0.70, 0.48, 0.82)],
    "rock": [(0.40, 0.40, 0.44), (0.44, 0.38, 0.36), (0.34, 0.40, 0.38)],
    "sails": [(0.96, 0.95, 0.92), (0.96, 0.95, 0.92), (0.86, 0.42, 0.28), (0.94, 0.86, 0.66)],
    "hulls": [(0.92, 0.92, 0.90), (0.20, 0.28, 0.44), (0.48, 0.28, 0.18)],
    # Times of day: zenith, horizon, sun, the tint of what it lights, clouds.
    "day": [(0.24, 0.47, 0.80), (0.76, 0.87, 0.95), (1.0, 0.97, 0.86), (1.00, 0.98, 0.94),
            (0.98, 0.98, 0.98)],
    "morning": [(0.42, 0.60, 0.84), (0.98, 0.90, 0.78), (1.0, 0.93, 0.74), (1.00, 0.93, 0.82),
                (1.00, 0.96, 0.91)],
    "evening": [(0.30, 0.37, 0.62), (0.98, 0.73, 0.50), (1.0, 0.82, 0.52), (0.95, 0.76, 0.60),
                (0.96, 0.68, 0.58)],
    "overcast": [(0.62, 0.68, 0.74), (0.84, 0.87, 0.89), (0.9, 0.92, 0.92), (0.84, 0.87, 0.89),
                 (0.90, 0.91, 0.92)],
    "dusk": [(0.15, 0.19, 0.40), (0.86, 0.56, 0.54), (1.0, 0.66, 0.48), (0.56, 0.52, 0.62),
             (0.60, 0.42, 0.52)],
}  # fmt: skip
# Times of day: probabilities and visibility in metres.
MOODS = {"day": 0.42, "morning": 0.18, "evening": 0.18, "overcast": 0.12, "dusk": 0.10}
VISIBILITY = {"day": 4500, "morning": 3200, "evening": 3600, "overcast": 2800, "dusk": 3500}


def choose(rng: Rng, name: str, spread: float = 0.04) -> Array:
    """One of the colours of that name, varied by up to ``spread``."""
    colour = np.asarray(COLOURS[name][rng.integers(len(COLOURS[name]))])
    return rgb(np.clip(colour + rng.uniform(-spread, spread, 3), 0, 1))
