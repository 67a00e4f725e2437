// Streams and events of the stand-in. See stand_in.h and internal.hpp.
#include "internal.hpp"

#include <set>

void moment::complete()
{
	std::lock_guard<std::mutex> lock(mutex);
	is_past = true;
	time = std::chrono::steady_clock::now();
	changed.notify_all();
}

void moment::wait()
{
	std::unique_lock<std::mutex> lock(mutex);
	changed.wait(lock, [&] { return is_past; });
}

bool moment::poll()
{
	std::lock_guard<std::mutex> lock(mutex);
	return is_past;
}

// ---- streams

struct work_item {
	std::function<void()> work;
	std::atomic<work_item *> next{NULL};
};

// A thread and its queue, a linked list: issuers own the tail, the thread owns the head, whose work is done already.
struct CUstream_st {
	int device;
	unsigned flags;
	int priority;
	std::mutex issuers;
	work_item *tail;
	work_item *head;
	sem_t ready; // counts what is behind `head`
	bool stops = false;
	std::thread thread;

	CUstream_st(unsigned flags, int priority) : device(current_device()), flags(flags), priority(priority)
	{
		head = tail = new work_item;
		sem_init(&ready, 0, 0);
		thread = std::thread([this] { run(); });
	}
	~CUstream_st()
	{
		push([this] { stops = true; });
		thread.join();
		sem_destroy(&ready);
		delete head;
	}
	void push(std::function<void()> work);
	void run();
};

void CUstream_st::push(std::function<void()> work)
{
	work_item *item = new work_item;
	item->work = std::move(work);
	std::lock_guard<std::mutex> lock(issuers);
	tail->next.store(item, std::memory_order_release);
	tail = item;
	sem_post(&ready);
}

void CUstream_st::run()
{
	while (!stops) {
		while (sem_wait(&ready) != 0)
			; // a signal
		work_item *item = head->next.load(std::memory_order_acquire);
		delete head;
		head = item;
		item->work();
		item->work = nullptr; // and with it what it owns
	}
}

// ---- all streams; the lock is the issuers'

static std::mutex streams_mutex;

static std::set<cudaStream_t> &streams()
{
	static std::set<cudaStream_t> *all = new std::set<cudaStream_t>; // outlives every static object
	return *all;
}

// Made when first used, and never ended.
static CUstream_st *default_stream = NULL;

static CUstream_st *find_default_stream()
{
	if (default_stream == NULL)
		default_stream = new CUstream_st(cudaStreamDefault, 0);
	return default_stream;
}

static bool is_default(cudaStream_t stream)
{
	return stream == NULL || stream == cudaStreamLegacy;
}

static std::shared_ptr<moment> push_moment(CUstream_st *stream)
{
	auto made = std::make_shared<moment>();
	stream->push([made] { made->complete(); });
	return made;
}

static void push_wait(CUstream_st *stream, std::shared_ptr<moment> until)
{
	stream->push([until] { until->wait(); });
}

static CUstream_st *resolve(cudaStream_t stream)
{
	return is_default(stream) ? find_default_stream() : stream;
}

void issue(cudaStream_t stream, std::function<void()> work)
{
	std::lock_guard<std::mutex> lock(streams_mutex);
	if (is_default(stream)) {
		for (cudaStream_t other : streams())
			if (!(other->flags & cudaStreamNonBlocking))
				push_wait(find_default_stream(), push_moment(other));
	} else if (!(stream->flags & cudaStreamNonBlocking) && default_stream != NULL) {
		push_wait(stream, push_moment(default_stream));
	}
	resolve(stream)->push(std::move(work));
}

bool is_stream(cudaStream_t stream)
{
	std::lock_guard<std::mutex> lock(streams_mutex);
	return is_default(stream) || streams().count(stream) > 0;
}

static int device_of(cudaStream_t stream)
{
	return is_default(stream) ? current_device() : stream->device;
}

cudaError_t issue_operation(cudaStream_t stream, std::function<void()> work)
{
	int device = device_of(stream);
	if (is_faulted(device))
		return answer(cudaErrorIllegalAddress);
	bool fails = takes_fault();
	issue(stream, [fails, device, work = std::move(work)] {
		if (fails)
			fault(device);
		else if (!is_faulted(device))
			work();
	});
	return cudaSuccess;
}

bool stand_in_enqueue(cudaStream_t stream, std::function<void()> work)
{
	if (!is_stream(stream) || device_of(stream) != current_device()) {
		stand_in_set_error(cudaErrorInvalidResourceHandle);
		return false;
	}
	return issue_operation(stream, std::move(work)) == cudaSuccess;
}

std::shared_ptr<moment> issue_moment(cudaStream_t stream)
{
	auto made = std::make_shared<moment>();
	issue(stream, [made] { made->complete(); });
	return made;
}

void wait_for_stream(cudaStream_t stream)
{
	issue_moment(stream)->wait();
}

void wait_for_device()
{
	std::set<std::shared_ptr<moment>> moments;
	{
		std::lock_guard<std::mutex> lock(streams_mutex);
		for (cudaStream_t stream : streams())
			moments.insert(push_moment(stream));
		if (default_stream != NULL)
			moments.insert(push_moment(default_stream));
	}
	for (auto &each : moments)
		each->wait();
}

// Numerically lower is more urgent; the stand-in does not heed it.
enum { LEAST_PRIORITY = 0, GREATEST_PRIORITY = -5 };

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
	*least = LEAST_PRIORITY;
	*greatest = GREATEST_PRIORITY;
	return answer(cudaSuccess);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
	cudaError_t status = make_context();
	if (status != cudaSuccess)
		return status;
	if (flags & ~(unsigned)cudaStreamNonBlocking)
		return answer(cudaErrorInvalidValue);
	priority = priority < GREATEST_PRIORITY ? GREATEST_PRIORITY : priority;
	CUstream_st *made = new CUstream_st(flags, priority < LEAST_PRIORITY ? priority : LEAST_PRIORITY);
	count_allocation();
	count_used(made->device, 1);
	std::lock_guard<std::mutex> lock(streams_mutex);
	streams().insert(made);
	*stream = made;
	return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
	return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
	return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

// After what was issued to it.
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	{
		std::lock_guard<std::mutex> lock(streams_mutex);
		if (streams().erase(stream) == 0)
			return answer(cudaErrorInvalidResourceHandle);
	}
	count_used(stream->device, -1);
	delete stream;
	return answer(cudaSuccess);
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority)
{
	*priority = is_default(stream) ? LEAST_PRIORITY : stream->priority;
	return answer(cudaSuccess);
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned *flags)
{
	*flags = is_default(stream) ? (unsigned)cudaStreamDefault : stream->flags;
	return answer(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	if (!is_stream(stream))
		return answer(cudaErrorInvalidResourceHandle);
	wait_for_stream(stream);
	return answer(cudaSuccess);
}

// A moment behind all work that is not past a little later counts as work: asking again soon gives the answer.
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
	if (!is_stream(stream))
		return answer(cudaErrorInvalidResourceHandle);
	std::shared_ptr<moment> end = issue_moment(stream);
	for (int i = 0; i < 100 && !end->poll(); i++)
		std::this_thread::yield();
	return answer(end->poll() ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaDeviceSynchronize(void)
{
	wait_for_device();
	return answer(cudaSuccess);
}

// As CUDA promises: after a fault the function is not called, and from within it no CUDA call works.
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *user)
{
	int device = device_of(stream);
	if (is_faulted(device))
		return answer(cudaErrorIllegalAddress);
	issue(stream, [=] {
		if (is_faulted(device))
			return;
		set_in_host_function(true);
		function(user);
		set_in_host_function(false);
	});
	return cudaSuccess;
}

// ---- events

struct CUevent_st {
	int device;
	unsigned flags;
	std::mutex mutex; // the issuers'
	std::shared_ptr<moment> last;

	std::shared_ptr<moment> recorded()
	{
		std::lock_guard<std::mutex> lock(mutex);
		return last;
	}
};

static std::mutex events_mutex; // the issuers'

static std::set<cudaEvent_t> &events()
{
	static std::set<cudaEvent_t> *all = new std::set<cudaEvent_t>;
	return *all;
}

static bool is_event(cudaEvent_t event)
{
	std::lock_guard<std::mutex> lock(events_mutex);
	return events().count(event) > 0;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
	cudaError_t status = make_context();
	if (status != cudaSuccess)
		return status;
	CUevent_st *made = new CUevent_st;
	made->device = current_device();
	made->flags = flags;
	count_allocation();
	count_used(made->device, 1);
	std::lock_guard<std::mutex> lock(events_mutex);
	events().insert(made);
	*event = made;
	return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
	return cudaEventCreateWithFlags(event, cudaEventDefault);
}

// What waits for it has its own hold of the moment.
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	{
		std::lock_guard<std::mutex> lock(events_mutex);
		if (events().erase(event) == 0)
			return answer(cudaErrorInvalidResourceHandle);
	}
	count_used(event->device, -1);
	delete event;
	return answer(cudaSuccess);
}

// Event and stream must be of one device; who waits for the event may be on another.
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
	if (!is_event(event) || !is_stream(stream) || event->device != device_of(stream))
		return answer(cudaErrorInvalidResourceHandle);
	std::shared_ptr<moment> made = issue_moment(stream);
	std::lock_guard<std::mutex> lock(event->mutex);
	event->last = made;
	return answer(cudaSuccess);
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned)
{
	return cudaEventRecord(event, stream);
}

// Of an event that was never recorded there is nothing to wait for.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
	if (!is_event(event) || !is_stream(stream))
		return answer(cudaErrorInvalidResourceHandle);
	std::shared_ptr<moment> until = event->recorded();
	if (until != nullptr)
		issue(stream, [until] { until->wait(); });
	return answer(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
	if (!is_event(event))
		return answer(cudaErrorInvalidResourceHandle);
	std::shared_ptr<moment> until = event->recorded();
	if (until != nullptr)
		until->wait();
	return answer(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
	if (!is_event(event))
		return answer(cudaErrorInvalidResourceHandle);
	std::shared_ptr<moment> last = event->recorded();
	return answer(last == nullptr || last->poll() ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
	if (!is_event(start) || !is_event(end) || start->device != end->device)
		return answer(cudaErrorInvalidResourceHandle);
	std::shared_ptr<moment> from = start->recorded(), to = end->recorded();
	if (((start->flags | end->flags) & cudaEventDisableTiming) || from == nullptr || to == nullptr)
		return answer(cudaErrorInvalidResourceHandle);
	if (!from->poll() || !to->poll())
		return answer(cudaErrorNotReady);
	*milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
	return answer(cudaSuccess);
}
