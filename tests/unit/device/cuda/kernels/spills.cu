// A kernel that the build must refuse: of its 96 values, 64 registers hold no more than 64. See unit.device.cuda.kernel_resources.
__global__ void __launch_bounds__(1024) spills(const float *__restrict__ from, float *__restrict__ to, int rounds)
{
	float values[96];
	for (int i = 0; i < 96; i++)
		values[i] = from[threadIdx.x + i * 1024];
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < 96; i++)
			values[i] = values[i] * values[(i + 1) % 96] + (float)round;
	for (int i = 0; i < 96; i++)
		to[threadIdx.x + i * 1024] = values[i];
}
