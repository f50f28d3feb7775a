"""Light comes from where it comes from, and what stands in its way throws a shadow."""

import numpy as np

from engine.scenery.meshes import Array, Material, Mesh, ball, box, merge, unit
from engine.scenery.rasterizing import rasterize
from engine.scenery.shading import shade, solid_noise

SIDE = 96
RIGHT, ABOVE = unit(np.array([1.0, 0.0, 0.6])), unit(np.array([0.0, 1.0, 0.6]))


def picture(mesh: Mesh, light: Array) -> Array:
    """Seen from the front by a parallel projection; NaN beside the object."""
    screen = mesh.vertices * [0.4 * SIDE, -0.4 * SIDE, 0.4] + [SIDE / 2, SIDE / 2, 0.5]
    seen = rasterize(screen, mesh.faces, SIDE, SIDE)
    noise = solid_noise(np.random.default_rng(0), 1.8, 16)
    image = np.full((SIDE, SIDE), np.nan)
    image[seen.row, seen.column] = shade(mesh, mesh, seen, light, (1.0, 0.3), (noise, noise))
    return image


def test_a_ball_is_brightest_towards_the_light() -> None:
    mesh = ball(n=32).painted(Material(0.6, 0.0))
    lit = picture(mesh, RIGHT)
    _, column = np.unravel_index(np.nanargmax(lit), lit.shape)
    assert column > 0.6 * SIDE
    assert np.nanmean(lit[:, SIDE // 2 :]) > 1.5 * np.nanmean(lit[:, : SIDE // 2])
    above = picture(mesh, ABOVE)
    assert np.nanmean(above[: SIDE // 2]) > 1.5 * np.nanmean(above[SIDE // 2 :])


def test_gloss_adds_a_highlight() -> None:
    dull, glossy = (picture(ball(n=32).painted(Material(0.4, gloss)), RIGHT) for gloss in (0.0, 1.0))
    assert np.nanmax(glossy) > np.nanmax(dull) + 0.2


def test_what_stands_in_the_light_throws_a_shadow() -> None:
    wall = box((0.9, 0.9, 0.05)).moved(shift=(0, 0, -0.3)).painted(Material(0.6, 0.0))
    bar = box((0.05, 0.5, 0.05)).moved(shift=(0.3, 0, 0.3)).painted(Material(0.6, 0.0))
    alone, shadowed = picture(wall, RIGHT), picture(merge([wall, bar]), RIGHT)
    in_shadow = int(SIDE / 2 + 0.4 * SIDE * (0.3 - 0.55 * RIGHT[0] / RIGHT[2]))
    assert shadowed[SIDE // 2, in_shadow] < 0.6 * alone[SIDE // 2, in_shadow]
    assert shadowed[SIDE // 2, SIDE // 8 + 2] == alone[SIDE // 2, SIDE // 8 + 2]


def test_a_texture_darkens_at_most_by_its_contrast() -> None:
    plain = picture(ball(n=32).painted(Material(0.6, 0.0)), RIGHT)
    for texture in ("grain", "fur", "hair", "seeds", "spots", "stripes", "rings", "skin"):
        textured = picture(ball(n=32).painted(Material(0.6, 0.0, texture, 0.5)), RIGHT)
        share = (textured / plain)[np.isfinite(plain)]
        assert 0.5 - 1e-9 <= share.min() < share.max() <= 1 + 1e-9
