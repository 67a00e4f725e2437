// See connections.h.
#include "stage_server/limits/connections.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "stage_server/limits/connection_table.h"
#include "stage_server/limits/listener_filter.h"
#include "stage_server/limits/penalties.h"
#include "stage_server/limits/system_calls.h"

enum {
	OWN_DESCRIPTORS = 64, // what the daemon needs besides connections, roughly
	EARLY_MS = 500,
	// HTTP/2 counts a call that was reset no more, but its end takes us some work: who begins so many times --max-streams of them before they
	// are ended, or resets so many in a second, does it on purpose ("rapid reset").
	FLOOD_FACTOR = 8,
	FLOOD_WINDOW_MS = 1000,
	MAXIMUM_QUIET_BYTES = 4 << 20, // that a connection may send without a call
	MAXIMUM_LISTENERS = 16,
	MAXIMUM_FAILURES = 64, // of accept, one after the other
};

static const struct metric_family open_family = {"penstock_connections", "Connections open now.", METRIC_GAUGE, 1.0};
static const struct metric_family total_family = {"penstock_connections_total", "Connections accepted.", METRIC_COUNTER,
						  1.0};

static struct {
	_Atomic(bool) is_open;
	struct connections_options options;
	struct metric *open, *total;
	_Atomic(int) other_listener;
	_Atomic(int) spare;      // a descriptor to give up when there is none left; -1: given up
	pthread_mutex_t telling; // held while a hit is told
	pthread_mutex_t lock;    // the rest
	struct connection_table table;
	struct penalties penalties;
	uint32_t filtered;                // hosts whose packets the listeners do not see
	int listeners[MAXIMUM_LISTENERS]; // of gRPC, those that connections came through
	uint32_t listener_count;
	bool draining, closed_some; // since the last tick
} gate = {.telling = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .other_listener = -1, .spare = -1};

// ---- The table

static bool may_be_connection(int descriptor)
{
	return atomic_load(&gate.is_open) && connection_table_may_have(&gate.table, descriptor);
}

// The rest of this part with the lock held.
// Over a Unix socket a call does not say whose it is. Its end is put down to whoever has begun the most: so nobody's count grows who waits
// for answers, and that of a flood, whose calls do not end as fast as they begin, still does.
static struct connection *find_beginner(const char *peer)
{
	struct connection *most = NULL;
	if (peer_address_key(peer) != 0)
		return connection_table_find_peer(&gate.table, peer);
	for (struct connection *each = gate.table.buckets[0]; each != NULL; each = each->next)
		if (each->key == 0 && (most == NULL || each->begun > most->begun))
			most = each;
	return most;
}

static bool add_connection(int descriptor, const char *address, const struct peer_host *host)
{
	if (!connection_table_add(&gate.table, descriptor, address, host, clock_now_ns()))
		return false;
	metric_set(gate.open, gate.table.count);
	metric_add(gate.total, 1);
	return true;
}

static void remove_connection(int descriptor)
{
	if (!connection_table_remove(&gate.table, descriptor))
		return;
	gate.closed_some = true;
	metric_set(gate.open, gate.table.count);
}

// ---- What the daemon holds to

// One of gRPC's threads may come here while the daemon closes: then nobody counts any more.
static void hit(enum limit limit, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void hit(enum limit limit, const char *format, ...)
{
	char what[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	pthread_mutex_lock(&gate.telling);
	if (atomic_load(&gate.is_open))
		limits_hit(gate.options.limits, limit, "%s", what);
	pthread_mutex_unlock(&gate.telling);
}

// ---- Hosts that flood

// The rest of this part with the lock held.
static void note_listener(int listener)
{
	for (uint32_t i = 0; i < gate.listener_count; i++)
		if (gate.listeners[i] == listener)
			return;
	if (gate.listener_count < MAXIMUM_LISTENERS)
		gate.listeners[gate.listener_count++] = listener;
}

static void filter_listeners(uint64_t now_ns)
{
	struct peer_host hosts[PENALTIES_MAXIMUM];
	gate.filtered = penalties_list(&gate.penalties, now_ns, hosts);
	for (uint32_t i = 0; i < gate.listener_count; i++)
		listener_filter_set(gate.listeners[i], hosts, gate.filtered);
}

static uint32_t punish(const struct peer_host *host)
{
	uint64_t now_ns = clock_now_ns();
	if (host->version == 0)
		return PENALTY_FIRST_MS;
	uint32_t length_ms = penalties_add(&gate.penalties, host, now_ns);
	filter_listeners(now_ns);
	return length_ms;
}

// So the descriptor is still this connection's. How long its host is turned away, in ms.
static uint32_t cut_flood(struct connection *connection)
{
	connection->floods = true;
	real_shutdown(connection->descriptor, SHUT_RDWR);
	return punish(&connection->host);
}

static void tell_of_flood(const char *peer, uint32_t penalty_ms)
{
	static const char what[] = "begins and resets calls faster than they can end: its connection was closed";
	if (peer_address_key(peer) == 0)
		hit(LIMIT_STREAMS, "%s %s", peer, what);
	else
		hit(LIMIT_STREAMS, "%s %s, and its host is banned for %u s", peer, what, penalty_ms / 1000);
}

// ---- Accepting

enum entry { ENTRY_TAKEN, ENTRY_FULL, ENTRY_BARRED };

static enum entry enter(int listener, int descriptor, const struct sockaddr *address, const char *text)
{
	struct peer_host host = peer_address_host(address);
	uint64_t now_ns = clock_now_ns();
	pthread_mutex_lock(&gate.lock);
	if (host.version != 0)
		note_listener(listener);
	if (gate.filtered > 0)
		listener_filter_remove(descriptor);
	bool barred = host.version != 0 && penalties_hold(&gate.penalties, &host, now_ns);
	bool taken = !barred && atomic_load(&gate.is_open) && gate.table.count < gate.options.maximum &&
		     add_connection(descriptor, text, &host);
	if (!barred && !taken && host.version != 0 && penalties_strike(&gate.penalties, &host, now_ns))
		filter_listeners(now_ns);
	pthread_mutex_unlock(&gate.lock);
	return taken ? ENTRY_TAKEN : barred ? ENTRY_BARRED : ENTRY_FULL;
}

// Without a word: a client that was told why, by HTTP/2's SETTINGS and GOAWAY, counts as connected and comes again at once, thousands of
// times a second; one whose connection is closed waits longer and longer.
static void turn_away(int descriptor, const char *address, enum entry entry)
{
	real_close(descriptor);
	if (entry == ENTRY_BARRED)
		hit(LIMIT_STREAMS, "%s was refused: its host is banned because it flooded this daemon", address);
	else
		hit(LIMIT_CONNECTIONS, "%s was refused: %u connection%s open, the limit (--max-connections)", address,
		    gate.options.maximum, gate.options.maximum == 1 ? " is" : "s are");
}

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

// Ends the connection that waits first, for which there is no descriptor: the spare one is given up for a moment. False
// when there is none; then it waits.
static bool drop_waiting(int listener)
{
	int spare = atomic_exchange(&gate.spare, -1);
	if (spare < 0)
		return false;
	real_close(spare);
	int descriptor = real_accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (descriptor >= 0)
		real_close(descriptor);
	atomic_store(&gate.spare, open_spare());
	if (descriptor < 0)
		return false;
	hit(LIMIT_DESCRIPTORS,
	    "a connection was closed: no descriptor is left for it; raise LimitNOFILE (ulimit -n) or lower "
	    "--max-connections");
	return true;
}

// gRPC's listener goes on after EAGAIN and EINTR and ends after all else, so nothing else comes out of here for what concerns
// a single connection or passes.
int accept4(int listener, __SOCKADDR_ARG given_address, socklen_t *length, int flags)
{
	struct sockaddr *address = given_address.__sockaddr__;
	if (!atomic_load(&gate.is_open) || listener == atomic_load(&gate.other_listener) || address == NULL)
		return real_accept4(listener, address, length, flags);
	socklen_t room = *length;
	for (int failures = 0; failures < MAXIMUM_FAILURES;) {
		*length = room;
		int descriptor = real_accept4(listener, address, length, flags);
		if (descriptor < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == EBADF || errno == EINVAL || errno == ENOTSOCK)
				return -1; // the last three: the listener is closed
			bool is_full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
			if (is_full && !drop_waiting(listener))
				break;
			failures += !is_full; // this connection was over before it began
			continue;
		}
		char text[PEER_ADDRESS_SIZE];
		peer_address_format(address, text, sizeof(text));
		enum entry entry = enter(listener, descriptor, address, text);
		if (entry == ENTRY_TAKEN)
			return descriptor;
		turn_away(descriptor, text, entry);
	}
	errno = EAGAIN;
	return -1;
}

// ---- Reading

// With the lock held. False: too many streams began that nobody can have ended yet.
static bool count_streams(struct connection *connection, const struct msghdr *message, size_t bytes)
{
	uint32_t begun = 0;
	for (size_t i = 0; i < message->msg_iovlen && bytes > 0; i++) {
		const struct iovec *part = &message->msg_iov[i];
		size_t count = part->iov_len < bytes ? part->iov_len : bytes;
		begun += http2_frames_take(&connection->frames, part->iov_base, count);
		bytes -= count;
	}
	connection->begun += begun;
	return connection->begun <= FLOOD_FACTOR * gate.options.maximum_streams;
}

static void name_peer(int descriptor, char peer[PEER_ADDRESS_SIZE])
{
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	socklen_t length = sizeof(address);
	getpeername(descriptor, (struct sockaddr *)&address, &length);
	peer_address_format((struct sockaddr *)&address, peer, PEER_ADDRESS_SIZE);
}

// A read of gRPC's. One that would be a flood ends the connection instead, before a call was made of any of it.
ssize_t recvmsg(int descriptor, struct msghdr *message, int flags)
{
	ssize_t got = real_recvmsg(descriptor, message, flags);
	if (got <= 0 || !may_be_connection(descriptor) || (flags & MSG_PEEK) != 0)
		return got;
	uint32_t penalty_ms = 0;
	char peer[PEER_ADDRESS_SIZE];
	pthread_mutex_lock(&gate.lock);
	struct connection *connection = connection_table_find(&gate.table, descriptor);
	if (connection != NULL && !connection->floods && !count_streams(connection, message, (size_t)got)) {
		name_peer(descriptor, peer); // while it is connected
		penalty_ms = cut_flood(connection);
	}
	bool floods = connection != NULL && connection->floods;
	pthread_mutex_unlock(&gate.lock);
	if (penalty_ms > 0)
		tell_of_flood(peer, penalty_ms);
	return floods ? 0 : got;
}

// ---- Ending

// Why gRPC closes a connection that its peer has not closed: of the time-outs that have passed, the longer one. gRPC's clock
// may have read a little less than ours.
static enum limit reason(const struct connection *connection, uint64_t now_ns)
{
	uint64_t handshake_ms = gate.options.handshake_timeout_ms, idle_ms = gate.options.idle_timeout_ms;
	uint64_t age_ms = (now_ns - connection->accepted_ns) / 1000000 + EARLY_MS;
	uint64_t quiet_ms = (now_ns - connection->quiet_ns) / 1000000 + EARLY_MS;
	if (connection->calls > 0 || connection->key == 0)
		return LIMIT_COUNT;
	bool is_late = !connection->called && age_ms >= handshake_ms, is_idle = quiet_ms >= idle_ms;
	if (is_late && (!is_idle || handshake_ms >= idle_ms))
		return LIMIT_HANDSHAKE_TIMEOUT;
	return is_idle ? LIMIT_IDLE_TIMEOUT : LIMIT_COUNT;
}

int shutdown(int descriptor, int how)
{
	enum limit limit = LIMIT_COUNT;
	char byte;
	if (may_be_connection(descriptor)) {
		pthread_mutex_lock(&gate.lock);
		struct connection *connection = connection_table_find(&gate.table, descriptor);
		if (connection != NULL && !connection->ended && !gate.draining) {
			ssize_t got = recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
			if (got > 0 || (got < 0 && errno == EAGAIN)) // the peer is there yet
				limit = reason(connection, clock_now_ns());
			connection->ended = true;
		}
		pthread_mutex_unlock(&gate.lock);
	}
	if (limit == LIMIT_HANDSHAKE_TIMEOUT)
		hit(limit, "closed a connection that sent nothing within %u s (--handshake-timeout)",
		    gate.options.handshake_timeout_ms / 1000);
	else if (limit == LIMIT_IDLE_TIMEOUT)
		hit(limit, "closed a connection that made no call for %u s (--idle-timeout)",
		    gate.options.idle_timeout_ms / 1000);
	return real_shutdown(descriptor, how);
}

int close(int descriptor)
{
	if (may_be_connection(descriptor)) {
		// Before the system's: afterwards another thread's accept may return the same number.
		pthread_mutex_lock(&gate.lock);
		remove_connection(descriptor);
		pthread_mutex_unlock(&gate.lock);
	}
	return real_close(descriptor);
}

// ---- Calls

static uint64_t received_bytes(int descriptor)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	return getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received : 0;
}

bool connections_call_began(const char *peer)
{
	uint32_t penalty_ms = 0;
	pthread_mutex_lock(&gate.lock);
	struct connection *connection = connection_table_find_peer(&gate.table, peer);
	uint32_t calls = 0;
	bool dropped = connection != NULL && connection->floods;
	if (connection != NULL && !dropped) {
		calls = ++connection->calls;
		connection->called = true;
		if (calls == FLOOD_FACTOR * gate.options.maximum_streams)
			penalty_ms = cut_flood(connection);
	}
	pthread_mutex_unlock(&gate.lock);
	if (penalty_ms > 0)
		tell_of_flood(peer, penalty_ms);
	if (calls > 0 && calls == gate.options.maximum_streams)
		hit(LIMIT_STREAMS, "%s has %u call%s at once, the limit (--max-streams): further calls wait", peer,
		    calls, strings_plural(calls));
	return !dropped;
}

// With the lock held. True: it was one too many.
static bool count_reset(struct connection *connection, uint64_t now_ns)
{
	if (now_ns - connection->window_ns > FLOOD_WINDOW_MS * UINT64_C(1000000)) {
		connection->window_ns = now_ns;
		connection->resets = 0;
	}
	return ++connection->resets == FLOOD_FACTOR * gate.options.maximum_streams && !connection->floods;
}

void connections_call_ended(const char *peer, bool cancelled)
{
	uint32_t penalty_ms = 0;
	pthread_mutex_lock(&gate.lock);
	struct connection *connection = connection_table_find_peer(&gate.table, peer);
	uint64_t now_ns = clock_now_ns();
	if (connection != NULL && connection->calls > 0 && --connection->calls == 0) {
		connection->quiet_ns = now_ns;
		connection->quiet_bytes = received_bytes(connection->descriptor);
	}
	struct connection *beginner = find_beginner(peer);
	if (beginner != NULL && beginner->begun > 0)
		beginner->begun--;
	if (connection != NULL && cancelled && count_reset(connection, now_ns))
		penalty_ms = cut_flood(connection);
	pthread_mutex_unlock(&gate.lock);
	if (penalty_ms > 0)
		tell_of_flood(peer, penalty_ms);
}

// With the lock held. Streams that gRPC refused did not become calls, and so are never seen to end: of those that are no calls half are
// forgotten a second. A flood is one within the second.
static void forget_refused_streams(void)
{
	for (size_t i = 0; i < gate.table.descriptors; i++) {
		struct connection *connection = gate.table.by_descriptor[i];
		if (connection != NULL && connection->begun > connection->calls)
			connection->begun -= (connection->begun - connection->calls + 1) / 2;
	}
}

// gRPC 1.51 keeps all of a header block that never ends, whatever its limit of metadata. With the lock held; how many it cut.
static uint32_t cut_endless_headers(void)
{
	uint32_t cut = 0;
	for (size_t i = 0; i < gate.table.descriptors; i++) {
		struct connection *connection = gate.table.by_descriptor[i];
		if (connection == NULL || connection->key == 0 || connection->calls > 0 || connection->ended ||
		    received_bytes(connection->descriptor) - connection->quiet_bytes <= MAXIMUM_QUIET_BYTES)
			continue;
		connection->ended = true;
		real_shutdown(connection->descriptor, SHUT_RDWR);
		cut++;
	}
	return cut;
}

// ---- The whole

bool connections_open(const struct connections_options *options, struct error *error)
{
	struct rlimit limit;
	gate.options = *options;
	gate.open = metrics_series(options->metrics, &open_family, "");
	gate.total = metrics_series(options->metrics, &total_family, "");
	gate.draining = false;
	gate.penalties = (struct penalties){0};
	gate.filtered = gate.listener_count = 0;
	gate.spare = open_spare();
	if (gate.spare < 0)
		return error_set(error, ERROR_FAILED, "/dev/null: %m");
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < options->maximum + (rlim_t)OWN_DESCRIPTORS)
		log_warning("only %llu files may be open, too few for %u connection%s (--max-connections): raise "
			    "LimitNOFILE (ulimit -n)",
			    (unsigned long long)limit.rlim_cur, options->maximum, strings_plural(options->maximum));
	atomic_store(&gate.is_open, true);
	return true;
}

void connections_leave_alone(int listener)
{
	atomic_store(&gate.other_listener, listener);
}

void connections_tick(void)
{
	pthread_mutex_lock(&gate.lock);
	bool closed_some = gate.closed_some;
	gate.closed_some = false;
	uint32_t cut = cut_endless_headers();
	forget_refused_streams();
	if (gate.filtered > 0)
		filter_listeners(clock_now_ns()); // without those whose time is over
	pthread_mutex_unlock(&gate.lock);
	for (uint32_t i = 0; i < cut; i++)
		hit(LIMIT_METADATA_SIZE, "closed a connection that sent more than %d MiB and made no call",
		    MAXIMUM_QUIET_BYTES >> 20);
	if (closed_some)
		malloc_trim(0); // what a flood took, the C library would keep
	if (atomic_load(&gate.spare) < 0)
		atomic_store(&gate.spare, open_spare());
}

void connections_drain(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.draining = true;
	pthread_mutex_unlock(&gate.lock);
}

void connections_close(void)
{
	if (!atomic_exchange(&gate.is_open, false))
		return;
	pthread_mutex_lock(&gate.telling); // whoever tells of a hit is done
	pthread_mutex_unlock(&gate.telling);
	pthread_mutex_lock(&gate.lock);
	connection_table_fini(&gate.table);
	metric_set(gate.open, 0);
	pthread_mutex_unlock(&gate.lock);
	int spare = atomic_exchange(&gate.spare, -1);
	if (spare >= 0)
		real_close(spare);
}
