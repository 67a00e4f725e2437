// See connection_table.h.
#include "stage_server/limits/connection_table.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void mark(struct connection_table *table, int descriptor, bool is_connection)
{
	if (descriptor < CONNECTION_TABLE_MARKS)
		atomic_store(&table->marks[descriptor], is_connection);
}

// What is no connection of ours is to pass without a look at what the lock guards: it may be a sanitizer's own, which is in the middle of a
// report, sees no locks meanwhile, and would begin another report inside it, for ever.
bool connection_table_may_have(const struct connection_table *table, int descriptor)
{
	return descriptor >= 0 && (descriptor >= CONNECTION_TABLE_MARKS || atomic_load(&table->marks[descriptor]));
}

struct connection *connection_table_find(const struct connection_table *table, int descriptor)
{
	return descriptor >= 0 && (size_t)descriptor < table->descriptors ? table->by_descriptor[descriptor] : NULL;
}

struct connection *connection_table_find_peer(const struct connection_table *table, const char *peer)
{
	uint64_t key = peer_address_key(peer);
	struct connection *connection = key != 0 ? table->buckets[key % CONNECTION_TABLE_BUCKETS] : NULL;
	while (connection != NULL && connection->key != key)
		connection = connection->next;
	return connection;
}

static bool make_room(struct connection_table *table, int descriptor)
{
	if ((size_t)descriptor < table->descriptors)
		return true;
	size_t wanted = 2 * (size_t)descriptor + 64;
	struct connection **grown = realloc(table->by_descriptor, wanted * sizeof(struct connection *));
	if (grown == NULL)
		return false;
	memset(grown + table->descriptors, 0, (wanted - table->descriptors) * sizeof(struct connection *));
	table->by_descriptor = grown;
	table->descriptors = wanted;
	return true;
}

bool connection_table_add(struct connection_table *table, int descriptor, const char *address,
			  const struct peer_host *host, uint64_t now_ns)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection == NULL || !make_room(table, descriptor)) {
		free(connection);
		return false;
	}
	connection_table_remove(table, descriptor);
	connection->descriptor = descriptor;
	connection->key = peer_address_key(address);
	connection->host = *host;
	connection->accepted_ns = connection->quiet_ns = now_ns;
	struct connection **bucket = &table->buckets[connection->key % CONNECTION_TABLE_BUCKETS];
	connection->next = *bucket;
	*bucket = connection;
	table->by_descriptor[descriptor] = connection;
	table->count++;
	mark(table, descriptor, true);
	return true;
}

bool connection_table_remove(struct connection_table *table, int descriptor)
{
	struct connection *connection = connection_table_find(table, descriptor);
	if (connection == NULL)
		return false;
	struct connection **place = &table->buckets[connection->key % CONNECTION_TABLE_BUCKETS];
	while (*place != connection)
		place = &(*place)->next;
	*place = connection->next;
	table->by_descriptor[descriptor] = NULL;
	table->count--;
	mark(table, descriptor, false);
	free(connection);
	return true;
}

void connection_table_fini(struct connection_table *table)
{
	for (size_t descriptor = 0; descriptor < table->descriptors; descriptor++)
		connection_table_remove(table, (int)descriptor);
	free(table->by_descriptor);
	table->by_descriptor = NULL;
	table->descriptors = 0;
}
