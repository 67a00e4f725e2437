// The PEM files of one end of TLS, read and checked: gRPC itself would take a key that is another certificate's, or one that
// expired, and fail at each handshake without a word of why. Includes no gRPC. Any thread.
#pragma once

#include "common/rpc/tls.h"

struct certificates {
	char *chain, *key; // both NULL: there is no certificate
	char *authorities;
	time_t expiry; // of the chain's first; 0 without one
};

// Fills all of it, or nothing. Returns owned, to certificates_fini.
bool certificates_read(const struct rpc_tls_options *files, struct certificates *ret_certificates, struct error *error);
void certificates_fini(struct certificates *certificates); // wipes the key
