// See log_rate.h.
#include "common/base/log_rate.h"

bool log_rate_allows(struct log_rate *rate, uint64_t now_ns, uint64_t *ret_unlogged)
{
	uint64_t logged_ns = atomic_load(&rate->logged_ns);
	bool quiet = logged_ns != 0 && now_ns - logged_ns < LOG_RATE_INTERVAL_S * UINT64_C(1000000000);
	if (quiet || !atomic_compare_exchange_strong(&rate->logged_ns, &logged_ns, now_ns)) {
		atomic_fetch_add(&rate->unlogged, 1);
		return false;
	}
	*ret_unlogged = atomic_exchange(&rate->unlogged, 0);
	return true;
}
