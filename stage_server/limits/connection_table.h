// The connections that are open, by descriptor and by what gRPC calls the peer, and what is known of each. What that means is with connections.c.
//
// One thread at a time (there: with the lock held), but connection_table_may_have: any thread, at any time.
#pragma once

#include "stage_server/limits/http2_frames.h"
#include "stage_server/limits/peer_address.h"

struct connection {
	struct connection *next; // in its bucket
	uint64_t key;            // of the peer's address; 0: it has none that could be told from others (Unix sockets)
	struct peer_host host;
	uint64_t accepted_ns, quiet_ns; // since when it has no call
	uint64_t quiet_bytes;           // received until then
	int descriptor;
	uint32_t calls;
	uint64_t window_ns; // in which resets are counted, its beginning
	uint32_t resets;
	bool called; // ever
	bool ended;
	bool floods; // and was cut off for it
	struct http2_frames frames;
	uint32_t begun; // streams, that have not ended as calls
};

enum { CONNECTION_TABLE_BUCKETS = 1024, CONNECTION_TABLE_MARKS = 1 << 16 };

// Begins as zeros.
struct connection_table {
	struct connection **by_descriptor; // [descriptors], NULL: no connection of ours
	size_t descriptors;
	struct connection *buckets[CONNECTION_TABLE_BUCKETS]; // by key: [0] has those without one, and others
	uint32_t count;
	_Atomic(bool) marks[CONNECTION_TABLE_MARKS]; // of descriptors that are connections
};

// NULL: there is none. Connections are borrowed until they are removed.
struct connection *connection_table_find(const struct connection_table *table, int descriptor);
struct connection *connection_table_find_peer(const struct connection_table *table, const char *peer);
// In the place of one whose close was not seen. `address` as peer_address_format writes it. False when memory is out.
bool connection_table_add(struct connection_table *table, int descriptor, const char *address,
			  const struct peer_host *host, uint64_t now_ns);
bool connection_table_remove(struct connection_table *table, int descriptor); // false: there was none
void connection_table_fini(struct connection_table *table);                   // removes all
// True also of some that are none.
bool connection_table_may_have(const struct connection_table *table, int descriptor);
