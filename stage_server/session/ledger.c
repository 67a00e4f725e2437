// See ledger.h.
#include "stage_server/session/ledger.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/base/strings.h"

struct ledger {
	uint64_t limit_bytes;
	pthread_mutex_t lock;
	uint64_t used_bytes;
	uint32_t reservations;
};

struct ledger *ledger_create(uint64_t limit_bytes)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	if (ledger == NULL)
		return NULL;
	ledger->limit_bytes = limit_bytes;
	pthread_mutex_init(&ledger->lock, NULL);
	return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
	if (ledger == NULL)
		return;
	pthread_mutex_destroy(&ledger->lock);
	free(ledger);
}

bool ledger_reserve(struct ledger *ledger, uint64_t bytes, struct error *error)
{
	pthread_mutex_lock(&ledger->lock);
	uint64_t used = ledger->used_bytes;
	bool fits = bytes <= ledger->limit_bytes - used;
	if (fits) {
		ledger->used_bytes += bytes;
		ledger->reservations++;
	}
	uint32_t others = ledger->reservations;
	pthread_mutex_unlock(&ledger->lock);
	if (fits)
		return true;
	char wanted[32], available[32], limit[32], taken[32];
	return error_set(
		error, ERROR_OUT_OF_MEMORY,
		"the stage needs %s (%" PRIu64
		" bytes), and %s of the device's limit of %s are free: %u other session%s %s. Cut "
		"the model into more stages, make the micro-batch smaller, or raise the daemon's --memory-limit",
		strings_format_bytes(bytes, wanted, sizeof(wanted)), bytes,
		strings_format_bytes(ledger->limit_bytes - used, available, sizeof(available)),
		strings_format_bytes(ledger->limit_bytes, limit, sizeof(limit)), others,
		others == 1 ? " holds" : "s hold", strings_format_bytes(used, taken, sizeof(taken)));
}

void ledger_release(struct ledger *ledger, uint64_t bytes)
{
	if (bytes == 0)
		return;
	pthread_mutex_lock(&ledger->lock);
	ledger->used_bytes -= bytes;
	ledger->reservations--;
	pthread_mutex_unlock(&ledger->lock);
}

uint64_t ledger_limit_bytes(const struct ledger *ledger)
{
	return ledger->limit_bytes;
}

uint64_t ledger_used_bytes(struct ledger *ledger)
{
	pthread_mutex_lock(&ledger->lock);
	uint64_t bytes = ledger->used_bytes;
	pthread_mutex_unlock(&ledger->lock);
	return bytes;
}
