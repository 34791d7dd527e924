"""Events to a bell: what stirs names a directory to look at again, and nothing more.

`Watcher` watches exactly the directories it is aimed at, each by itself, all through one inotify
descriptor and one emitter of our own on watchdog's public classes: its stock recursive observer
goes deaf under load and never tells. Events only ring; lost ones cost time, never correctness.
"""

from ckptd.watch.aims import Interest
from ckptd.watch.bell import ALL, Bell, Rung
from ckptd.watch.watcher import Watcher

__all__ = ["ALL", "Bell", "Interest", "Rung", "Watcher"]
