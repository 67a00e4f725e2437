// See lateness.h.
#include "common/base/lateness.h"

#define MS UINT64_C(1000000)

void lateness_look(struct lateness *lateness, uint64_t now_ns, uint64_t behind_ns)
{
	uint64_t away_ns = lateness->looked_ns == 0 ? 0 : now_ns - lateness->looked_ns;
	lateness->looked_ns = now_ns;
	if (away_ns > LATENESS_MAXIMUM_MS * MS || behind_ns > LATENESS_MAXIMUM_MS * MS)
		lateness->excused_ns = now_ns;
}

uint64_t lateness_silence_ms(const struct lateness *lateness, uint64_t heard_ns, uint64_t now_ns)
{
	uint64_t since_ns = heard_ns > lateness->excused_ns ? heard_ns : lateness->excused_ns;
	return now_ns > since_ns ? (now_ns - since_ns) / MS : 0;
}
