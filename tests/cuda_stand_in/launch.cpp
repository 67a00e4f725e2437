// See stand_in_launch.hpp: grids on the CPU.
#undef _FORTIFY_SOURCE // its longjmp takes a jump to another stack for a mistake
#include "stand_in_launch.hpp"

#include <memory>
#include <setjmp.h>
#include <stdint.h>
#include <ucontext.h>
#include <vector>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

bool stand_in_accepts(dim3 grid, dim3 block)
{
	uint64_t threads = (uint64_t)block.x * block.y * block.z;
	bool fits = grid.x >= 1 && grid.x <= INT32_MAX && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 &&
		    grid.z <= 65535 && threads >= 1 && threads <= 1024 && block.z <= 64;
	if (!fits)
		stand_in_set_error(cudaErrorInvalidConfiguration);
	return fits;
}

// ThreadSanitizer keeps a stack of calls for each thread, and must hear of each switch. (A switch counts as synchronisation: what races
// inside a block it does not see.)
struct sanitizer_fiber {
#ifdef __SANITIZE_THREAD__
	void *fiber = NULL;
	void create()
	{
		fiber = __tsan_create_fiber(0);
	}
	void take_current()
	{
		fiber = __tsan_get_current_fiber();
	}
	void destroy()
	{
		__tsan_destroy_fiber(fiber);
	}
	void before_switch()
	{
		__tsan_switch_to_fiber(fiber, 0);
	}
#else
	void create()
	{
	}
	void take_current()
	{
	}
	void destroy()
	{
	}
	void before_switch()
	{
	}
#endif
};

// A place to go on from. swapcontext asks the kernel for the signal mask each time, which takes longer than most of the kernels that run
// here; setjmp does not, but the sanitizers take its way to another stack for the end of this one.
struct place {
	ucontext_t context;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	void switch_to(place &other)
	{
		swapcontext(&context, &other.context);
	}
#else
	jmp_buf registers;
	bool was_left = false; // then `registers` says where; before that `context` says where it begins

	void switch_to(place &other)
	{
		was_left = true;
		if (_setjmp(registers) != 0)
			return;
		if (other.was_left)
			_longjmp(other.registers, 1);
		setcontext(&other.context);
	}
#endif
};

enum { STACK_BYTES = 64 * 1024 };

struct fiber {
	place at;
	std::unique_ptr<char[]> stack;
	sanitizer_fiber sanitizer;
	bool is_done; // with this block's thread
};

// The fibers of one stream's thread; made once and used for every block.
struct fibers {
	std::vector<std::unique_ptr<fiber>> all;
	place scheduler;
	sanitizer_fiber scheduler_sanitizer;
	fiber *current = NULL;
	const std::function<void()> *thread = NULL;

	~fibers()
	{
		for (auto &each : all)
			each->sanitizer.destroy();
	}
	void yield();
	void resume(fiber &which);
	void grow(uint64_t count);
	void run_block(const std::function<void()> &body);
};

static thread_local fibers mine;

static void fiber_main()
{
	for (;;) {
		(*mine.thread)();
		mine.current->is_done = true;
		mine.yield();
	}
}

void fibers::yield()
{
	scheduler_sanitizer.before_switch();
	current->at.switch_to(scheduler);
}

void fibers::resume(fiber &which)
{
	current = &which;
	which.sanitizer.before_switch();
	scheduler.switch_to(which.at);
	current = NULL;
}

void fibers::grow(uint64_t count)
{
	while (all.size() < count) {
		auto made = std::make_unique<fiber>();
		made->stack.reset(new char[STACK_BYTES]);
		made->sanitizer.create();
		getcontext(&made->at.context);
		made->at.context.uc_stack.ss_sp = made->stack.get();
		made->at.context.uc_stack.ss_size = STACK_BYTES;
		made->at.context.uc_link = NULL;
		makecontext(&made->at.context, fiber_main, 0);
		all.push_back(std::move(made));
	}
}

// A barrier lets go when every thread that has not returned waits at one.
void fibers::run_block(const std::function<void()> &body)
{
	uint64_t count = (uint64_t)blockDim.x * blockDim.y * blockDim.z, left = count;
	grow(count);
	scheduler_sanitizer.take_current();
	thread = &body;
	for (uint64_t i = 0; i < count; i++)
		all[i]->is_done = false;
	while (left > 0)
		for (uint64_t i = 0; i < count; i++) {
			if (all[i]->is_done)
				continue;
			threadIdx = {(unsigned)(i % blockDim.x), (unsigned)(i / blockDim.x % blockDim.y),
				     (unsigned)(i / blockDim.x / blockDim.y)};
			resume(*all[i]);
			left -= all[i]->is_done;
		}
}

void __syncthreads()
{
	mine.yield();
}

static void run_block_in_order(const std::function<void()> &thread)
{
	for (unsigned z = 0; z < blockDim.z; z++)
		for (unsigned y = 0; y < blockDim.y; y++)
			for (unsigned x = 0; x < blockDim.x; x++) {
				threadIdx = {x, y, z};
				thread();
			}
}

void stand_in_run(dim3 grid, dim3 block, bool barriers, const std::function<void()> &thread)
{
	gridDim = {grid.x, grid.y, grid.z};
	blockDim = {block.x, block.y, block.z};
	for (unsigned z = 0; z < grid.z; z++)
		for (unsigned y = 0; y < grid.y; y++)
			for (unsigned x = 0; x < grid.x; x++) {
				blockIdx = {x, y, z};
				if (barriers)
					mine.run_block(thread);
				else
					run_block_in_order(thread);
			}
}
