"""Messages to people through apprise, for what the journal tells anyway.

Whoever has to wait for a receiver is a thread of that receiver: nothing else is delayed, and the
end does not wait for it.
"""

from ckptd.notify.notifier import Notifier
from ckptd.notify.receivers import exposed, faults

__all__ = ["Notifier", "exposed", "faults"]
