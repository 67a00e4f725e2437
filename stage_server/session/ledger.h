// Who may use how much of the device's memory: every session reserves what its plan needs before anything is allocated,
// and the sum never passes the cap. Any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct ledger;

struct ledger *ledger_create(uint64_t limit_bytes); // NULL when memory is out
void ledger_destroy(struct ledger *ledger);         // takes NULL
// ERROR_OUT_OF_MEMORY says how much is wanted, free and capped.
bool ledger_reserve(struct ledger *ledger, uint64_t bytes, struct error *error);
void ledger_release(struct ledger *ledger, uint64_t bytes);
uint64_t ledger_limit_bytes(const struct ledger *ledger);
uint64_t ledger_used_bytes(struct ledger *ledger);
