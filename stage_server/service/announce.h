// Where a daemon listens, said: in the log, and in the file that --ready-file names. Loop's thread.
#pragma once

#include "common/http/http.h"
#include "common/rpc/rpc.h"
#include "stage_server/options/options.h"

// `http` NULL: there is no scrape. False with a message when the file cannot be written.
bool announce(const struct daemon_options *options, const struct rpc_server *server, const struct http *http,
	      struct error *error);
