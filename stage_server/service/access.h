// Who may come to the daemon: its TLS files and their reload, the names it allows, and that it does not listen to everybody by
// mistake.
// Loop's thread, except access_refused.
#pragma once

#include "common/metrics/metrics.h"
#include "common/rpc/rpc.h"
#include "stage_server/options/options.h"

struct access;

// Reads the files that the options name, and refuses options that contradict each other: ERROR_USAGE. Returns owned.
bool access_create(const struct daemon_options *options, struct metrics *metrics, struct access **ret_access,
		   struct error *error);
void access_destroy(struct access *access); // takes NULL; after the server and its links
bool access_check(const struct daemon_options *options, struct error *error); // the same, and keeps nothing

struct rpc_tls *access_tls(const struct access *access); // borrowed; NULL: the daemon speaks no TLS
// Reads the files again, for connections that come from now on. False with a message when something is wrong with them: the old ones
// stay.
bool access_reload(struct access *access, struct error *error);
void access_count_reload(struct access *access, bool done);
// A call from names that are not allowed. Any thread.
void access_refused(struct rpc_stream *stream, const char *method, struct access *access);
