// See watchdog.h.
#include "stage_server/service/watchdog.h"

void watchdog_init(struct watchdog *watchdog, uint64_t timeout_us, uint64_t now_ns)
{
	*watchdog = (struct watchdog){.interval_ns = timeout_us * 1000 / 2, .pinged_ns = now_ns};
}

bool watchdog_is_due(struct watchdog *watchdog, uint64_t now_ns)
{
	if (watchdog->interval_ns == 0 || watchdog->asked || now_ns - watchdog->pinged_ns < watchdog->interval_ns)
		return false;
	watchdog->asked = true;
	return true;
}

bool watchdog_answer(struct watchdog *watchdog, uint64_t stuck_ns, uint64_t now_ns)
{
	watchdog->asked = false; // where it is withheld, it is due again at once
	if (stuck_ns >= watchdog->interval_ns)
		return false;
	watchdog->pinged_ns = now_ns;
	return true;
}
