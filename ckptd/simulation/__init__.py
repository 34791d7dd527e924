"""A policy played ahead of time, by the planner that acts in earnest. Pure: values in, curves out.

Saves come as they came so far, each in one moment. What nobody can know is left out: a training
that gets better (its best stays its best), saves that grow, and who opens what.
"""

from ckptd.simulation.course import Course, courses
from ckptd.simulation.invented import invented
from ckptd.simulation.keepers import ByPolicy, ByTrainer, Nobody
from ckptd.simulation.playing import MOST_SAVES, Curve, Played, play, saves_in
from ckptd.simulation.replay import Replay, replay_of
from ckptd.simulation.stage import Stage

__all__ = [
    "MOST_SAVES",
    "ByPolicy",
    "ByTrainer",
    "Course",
    "Curve",
    "Nobody",
    "Played",
    "Replay",
    "Stage",
    "courses",
    "invented",
    "play",
    "replay_of",
    "saves_in",
]
