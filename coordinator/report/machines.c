// Which devices of a job give other bits than the rest, in a line for people.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/plan/rank_name.h"
#include "coordinator/report/report.h"

static void append(char *into, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void append(char *into, size_t size, const char *format, ...)
{
	size_t length = strlen(into);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(into + length, size - length, format, arguments);
	va_end(arguments);
}

const char *report_machines(const struct plan *plan, const char *const *addresses, const struct job_numerics *numerics,
			    char *into, size_t size)
{
	uint32_t ranks = plan_rank_count(plan);
	snprintf(into, size, "the devices differ, so the numbers of this job depend on where the model is cut");
	for (uint32_t r = 0, kinds = 0; r < ranks; r++) {
		const char *machine = numerics->machines[r];
		uint32_t others = 0, before = 0;
		for (uint32_t i = 0; i < ranks; i++)
			*(i < r ? &before : &others) += strcmp(numerics->machines[i], machine) == 0;
		if (before > 0)
			continue;
		char who[RANK_NAME_SIZE];
		append(into, size, "%s %s: %s", kinds++ == 0 ? ":" : ";", machine,
		       rank_name(plan, r, addresses[r], who, sizeof(who)));
		if (others > 1)
			append(into, size, " and %u more", others - 1);
	}
	return into;
}
