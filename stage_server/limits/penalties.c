// See penalties.h.
#include "stage_server/limits/penalties.h"

#define MS UINT64_C(1000000)

static bool is_older(const struct penalty *a, const struct penalty *b)
{
	return a->until_ns != b->until_ns ? a->until_ns < b->until_ns : a->window_ns < b->window_ns;
}

// The host's own place, or the one to be forgotten: of hosts without a penalty, who struck longest ago.
static struct penalty *place_of(struct penalties *penalties, const struct peer_host *host)
{
	struct penalty *oldest = &penalties->entries[0];
	for (int i = 0; i < PENALTIES_MAXIMUM; i++) {
		struct penalty *penalty = &penalties->entries[i];
		if (peer_host_is(&penalty->host, host))
			return penalty;
		if (is_older(penalty, oldest))
			oldest = penalty;
	}
	*oldest = (struct penalty){.host = *host};
	return oldest;
}

uint32_t penalties_add(struct penalties *penalties, const struct peer_host *host, uint64_t now_ns)
{
	struct penalty *penalty = place_of(penalties, host);
	if (now_ns < penalty->until_ns) // another connection of the same flood
		return penalty->length_ms;
	if (penalty->length_ms == 0 || now_ns - penalty->until_ns > PENALTY_FORGIVEN_MS * MS)
		penalty->length_ms = PENALTY_FIRST_MS;
	else if (penalty->length_ms < PENALTY_LONGEST_MS)
		penalty->length_ms *= 2;
	penalty->until_ns = now_ns + penalty->length_ms * MS;
	return penalty->length_ms;
}

bool penalties_strike(struct penalties *penalties, const struct peer_host *host, uint64_t now_ns)
{
	struct penalty *penalty = place_of(penalties, host);
	if (now_ns < penalty->until_ns)
		return false;
	if (now_ns - penalty->window_ns > 1000 * MS) {
		penalty->window_ns = now_ns;
		penalty->strikes = 0;
	}
	if (++penalty->strikes < PENALTY_STRIKES)
		return false;
	penalties_add(penalties, host, now_ns);
	return true;
}

bool penalties_hold(const struct penalties *penalties, const struct peer_host *host, uint64_t now_ns)
{
	for (int i = 0; i < PENALTIES_MAXIMUM; i++)
		if (peer_host_is(&penalties->entries[i].host, host))
			return now_ns < penalties->entries[i].until_ns;
	return false;
}

uint32_t penalties_list(const struct penalties *penalties, uint64_t now_ns,
			struct peer_host ret_hosts[PENALTIES_MAXIMUM])
{
	uint32_t count = 0;
	for (int i = 0; i < PENALTIES_MAXIMUM; i++)
		if (now_ns < penalties->entries[i].until_ns)
			ret_hosts[count++] = penalties->entries[i].host;
	return count;
}
