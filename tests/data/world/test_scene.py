"""Scenes, silhouettes and rendering of the world."""

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest

from dense.data.world import COLOURS, STUFF, TEXTURES, THINGS, VOID, Renderer, render_video, sample_scene
from dense.data.world.motion import Swing
from dense.data.world.render import MIN_VISIBLE
from dense.data.world.shapes import silhouette
from dense.errors import DataError

SIZE = (48, 80)


def _filled(name, angle):
    """Silhouette of unit area around its centre of mass, 48 x 48."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    plain = np.zeros((200, 200), np.uint8)
    cv2.fillPoly(plain, [np.round(p * 90 + 100).astype(np.int32) for p in silhouette(name)], 1)
    y, x = np.nonzero(plain)
    centre = (np.array([x.mean(), y.mean()]) - 100) / 90
    scale = 16 / (np.sqrt(plain.sum()) / 90)
    mask = np.zeros((48, 48), np.uint8)
    cv2.fillPoly(mask, [np.round(((p - centre) @ turn.T) * scale + 24).astype(np.int32) for p in silhouette(name)], 1)
    return mask.astype(bool)


def test_silhouette__all_pairs_under_rotation__are_told_apart():
    """Catches two categories that look alike, so that no network could name them (disc and square are the nearest pair)."""
    turned = {name: [_filled(name, a) for a in np.linspace(0, 2 * np.pi, 24, endpoint=False)] for name in THINGS}
    for a, b in combinations(THINGS, 2):
        best = max((turned[a][0] & other).sum() / (turned[a][0] | other).sum() for other in turned[b])
        assert best < 0.87, (a, b, best)


@pytest.mark.parametrize("name", THINGS)
def test_silhouette__every_category__fits_the_unit_circle_and_fills_enough(name):
    """Catches a shape off centre (it would jump when turning), or one too thin to be seen at 20 pixels."""
    points = np.concatenate(silhouette(name))
    assert np.hypot(*points.T).max() == pytest.approx(1)
    assert np.hypot(*(-points.mean(0))) < 0.6
    mask = np.zeros((200, 200), np.uint8)
    cv2.fillPoly(mask, [np.round(p * 99 + 100).astype(np.int32) for p in silhouette(name)], 1)
    assert mask.sum() > 0.25 * np.pi * 99**2


def test_render_video__same_arguments__same_pixels_other_index_other_pixels():
    """Catches hidden state (a global generator, a shared cache that is drawn into) and an ignored index or seed."""
    first, other, again = render_video(3, 5, 3, SIZE), render_video(3, 6, 3, SIZE), render_video(3, 5, 3, SIZE)
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.frames, other.frames)
    assert not np.array_equal(first.frames, render_video(4, 5, 3, SIZE).frames)


def test_render_video__frame_step__is_every_kth_frame_of_the_long_video():
    """Catches a step that changes the motion instead of the sampling."""
    long, short = render_video(0, 1, 12, SIZE), render_video(0, 1, 4, SIZE, frame_step=3)
    assert np.array_equal(long.frames[::3], short.frames)
    assert np.array_equal(long.stuff[::3], short.stuff)


@pytest.mark.parametrize("index", range(4))
def test_render_video__masks__equal_painting_whole_silhouettes_back_to_front(index):
    """Catches visible masks that overlap, ignore the order of depth, or differ from what is drawn."""
    video = render_video(1, index, 3, SIZE, frame_step=7)
    renderer = Renderer(video.scene, SIZE)
    assert video.masks.sum(0).max() <= 1
    for t in range(3):
        moment = 7.0 * t
        whole = [renderer.full_silhouette(i, moment) for i in range(len(video.scene.things))]
        depth = [thing.trajectory.at(moment).depth for thing in video.scene.things]
        for i in range(len(whole)):
            nearer = [whole[j] for j in range(len(whole)) if depth[j] < depth[i]]
            expected = whole[i] & ~np.any([np.zeros(SIZE, bool), *nearer], axis=0)
            assert np.array_equal(video.masks[i, t], expected if expected.sum() >= MIN_VISIBLE else np.zeros(SIZE, bool))
        assert np.array_equal(video.stuff[t] == VOID, np.any(whole, axis=0))


def test_full_silhouette__of_a_disc__has_the_area_and_place_of_its_circle():
    """Catches a shift by half a pixel or a wrong scale between geometry and pixels, against the circle itself."""
    size, checked = (96, 160), 0
    for index in range(30):
        scene = sample_scene(0, index, 160 / 96, 4)
        renderer = Renderer(scene, size)
        for i, thing in enumerate(scene.things):
            pose = thing.trajectory.at(0)
            x, y, zoom = (v * 96 for v in scene.to_picture(pose.x, pose.y, 0))
            radius = pose.radius * zoom
            if thing.look.category != "disc" or not (radius < x < 160 - radius and radius < y < 96 - radius):
                continue
            rows, columns = np.nonzero(renderer.full_silhouette(i, 0))
            assert len(rows) == pytest.approx(np.pi * radius**2, rel=0.03)
            assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((x, y), abs=0.15)
            checked += 1
    assert checked >= 3


def test_render_video__pixels_of_things__differ_from_the_bare_background():
    """Catches masks that do not lie on the drawn thing, by the change of colour against the stuff's own texture."""
    video = render_video(0, 2, 2, (96, 160))
    inside, outside = [], []
    for t in range(2):
        background, _ = Renderer(video.scene, (96, 160))._background(float(t))
        change = np.abs(video.frames[t].astype(float) - background).mean(-1)
        covered = video.masks[:, t].any(0).astype(np.uint8)
        inside.append(change[cv2.erode(covered, np.ones((3, 3))) > 0].mean())
        outside.append(change[cv2.dilate(covered, np.ones((15, 15))) == 0].mean())
    assert min(inside) > 20
    assert max(outside) < 4


def test_frame__plain_disc__dark_rim_is_centred_on_its_mask():
    """Catches a texture that is shifted against the silhouette: across the light, both sides must be equally dark."""
    size, scene = (96, 160), sample_scene(0, 0, 160 / 96, 4)
    look = replace(scene.things[0].look, category="disc", texture="plain", rgb=(200, 200, 200))
    walk = replace(scene.things[0].trajectory.walk, knots=np.array([[0.83, 0.5]] * 3))
    thing = replace(
        scene.things[0], look=look, trajectory=replace(scene.things[0].trajectory, walk=walk, radius=Swing(0.4, 0, 9, 0))
    )
    renderer = Renderer(replace(scene, things=(thing,)), size)
    frame = renderer.frame(1.0)
    y, x = (np.arange(n) + 0.5 for n in size)
    centre_x, centre_y, zoom = (v * 96 for v in scene.to_picture(0.83, 0.5, 1.0))
    right, down = (x[None] - centre_x) / (0.4 * zoom), (y[:, None] - centre_y) / (0.4 * zoom)
    across, along = (right - down) / np.sqrt(2), (right + down) / np.sqrt(2)
    rim = (np.abs(along) < 0.5) & (np.hypot(across, along) < 0.97) & (np.hypot(across, along) > 0.92)
    sides = [frame.image[rim & side].mean() for side in (across > 0, across < 0)]
    assert sides[0] == pytest.approx(sides[1], rel=0.02)
    assert max(sides) < 0.9 * frame.image[np.hypot(across, along) < 0.5].mean()


def test_scenes__over_many_seeds__things_leave_and_return_meet_and_have_twins():
    """Catches a world without the hard cases: exits with return, occlusion, changes of order, look-alikes, sizes in range."""
    returned = covered = twins = swapped = 0
    for index in range(24):
        video = render_video(7, index, 12, (32, 54), frame_step=2)
        scene = video.scene
        assert 3 <= len(scene.things) <= 6
        shown = video.masks.any((2, 3))
        for row in shown:
            seen = np.flatnonzero(row)
            returned += len(seen) > 0 and seen[-1] - seen[0] + 1 > len(seen)
        looks = [thing.look for thing in scene.things]
        twins += len(set(looks)) < len(looks)
        swapped += scene.order(0) != scene.order(22)
        renderer = Renderer(scene, (32, 54))
        covered += any(
            renderer.full_silhouette(i, 22.0).sum() > 1.3 * video.masks[i, 11].sum() > 0 for i in range(len(scene.things))
        )
        for thing in scene.things:
            zoom = scene.camera.at(6)[2]
            assert 0.2 <= 2 * thing.trajectory.at(6).radius * zoom <= 0.5
    assert returned >= 5
    assert covered >= 5
    assert twins >= 3
    assert swapped >= 3


def test_scenes__over_many_seeds__use_every_category_texture_colour_and_stuff():
    """Catches a table entry that is never drawn, and texture tied to category."""
    scenes = [sample_scene(0, index, 5 / 3, 24) for index in range(120)]
    looks = [thing.look for scene in scenes for thing in scene.things]
    assert {look.category for look in looks} == set(THINGS)
    assert {look.colour for look in looks} == set(COLOURS)
    assert {name for scene in scenes for name in scene.layout.names} == set(STUFF)
    assert len({(look.category, look.texture) for look in looks}) > 0.9 * len(THINGS) * len(TEXTURES)


def test_render_video__stuff_map__agrees_with_the_layout_through_the_camera():
    """Catches a stuff map that does not pan and zoom with the picture."""
    video = render_video(0, 9, 2, (64, 96), frame_step=20)
    scene = video.scene
    pan_x, pan_y, zoom = scene.camera.at(20)
    y, x = ((np.arange(n) + 0.5) / 64 for n in (64, 96))
    world_x = (x - scene.aspect / 2) / zoom + scene.aspect / 2 + pan_x
    world_y = (y - 0.5) / zoom + 0.5 + pan_y
    region = scene.layout.region(world_x[None], world_y[:, None])
    expected = np.array([STUFF.index(name) for name in scene.layout.names])[region]
    known = video.stuff[1] != VOID
    assert (video.stuff[1] == expected)[known].mean() > 0.98
    assert len(np.unique(video.stuff[1][known])) >= 2


def test_describe__words__match_the_geometry():
    """Catches relations read the wrong way round, and things named that are out of the picture."""
    relations = 0
    for index in range(20):
        scene = sample_scene(2, index, 5 / 3, 24)
        words = scene.describe(12.0)
        poses = [thing.trajectory.at(12.0) for thing in scene.things]
        places = [scene.to_picture(p.x, p.y, 12.0)[:2] for p in poses]
        seen = [i for i, (x, y) in enumerate(places) if 0 <= x <= scene.aspect and 0 <= y <= 1]
        assert [w.category for w in words.things] == [scene.things[i].look.category for i in seen]
        assert all((w.second_colour is None) == (w.texture == "plain") and w.stuff in words.stuff for w in words.things)
        for relation in words.relations:
            a, b = seen[relation.subject], seen[relation.object]
            (ax, ay), (bx, by) = places[a], places[b]
            truth = {
                "left of": ax < bx,
                "right of": ax > bx,
                "above": ay < by,
                "below": ay > by,
                "in front of": scene.order(12.0).index(a) > scene.order(12.0).index(b),
                "behind": scene.order(12.0).index(a) < scene.order(12.0).index(b),
            }
            assert truth[relation.predicate], relation
            relations += 1
    assert relations > 50


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"size": (0, 80)}, {"size": (32, 640)}, {"frame_step": 0}, {"index": -1}, {"seed": 1.5}]
)
def test_render_video__number_out_of_range__data_error(wrong):
    """Catches a foreign traceback or an empty video for a wrong number."""
    with pytest.raises(DataError, match="expected"):
        render_video(**{"seed": 0, "index": 0, "frames": 1, "size": SIZE, **wrong})
