// The coordinator's scrape: common/http on a loop and a thread of its own, since the job's thread waits for events of ranks.
#pragma once

#include "common/base/error.h"
#include "common/metrics/metrics.h"

struct scrape;

// `address` as in http_options. Borrows `metrics` until scrape_stop.
bool scrape_start(const char *address, struct metrics *metrics, struct scrape **ret_scrape, struct error *error);
int scrape_port(const struct scrape *scrape);
void scrape_stop(struct scrape *scrape); // takes NULL; waits for the thread, and frees
