# The CUDA device's files, for two builds: the real one, and one on a stand-in for CUDA without a GPU (tests/cuda_stand_in).
# libraries.c is apart: it finds the vendor's libraries, which a stand-in replaces.
set(PENSTOCK_CUDA_FOLDER ${CMAKE_CURRENT_LIST_DIR})
set(PENSTOCK_CUDA_SOURCES
  checkpoint.c
  completions.c
  context.c
  convolution.c
  convolution_plans.c
  cuda.c
  cudnn_graph.c
  dropout.c
  elementwise.c
  gradients.c
  group.c
  linear.c
  loss.c
  matmul.c
  memory.c
  nvml.c
  parameters.c
  passes.c
  pooling.c
  program.c
  rehearsal.c
  status.c
  transfers.c
  trial.c)
set(PENSTOCK_CUDA_KERNELS
  kernels/dropout.cu
  kernels/elementwise.cu
  kernels/images.cu
  kernels/layout.cu
  kernels/loss.cu
  kernels/optimizer.cu
  kernels/pooling.cu)
list(TRANSFORM PENSTOCK_CUDA_SOURCES PREPEND ${PENSTOCK_CUDA_FOLDER}/)
list(TRANSFORM PENSTOCK_CUDA_KERNELS PREPEND ${PENSTOCK_CUDA_FOLDER}/)

# Headers are all that the C files need: PENSTOCK_CUDA_INCLUDES has the folders, and PENSTOCK_CUDA_MISSING names what was not found.
set(hints ${CUDAToolkit_ROOT} $ENV{CUDA_PATH} /usr/local/cuda)
set(PENSTOCK_CUDA_INCLUDES)
set(PENSTOCK_CUDA_MISSING)
foreach(header cuda_runtime_api.h cudnn.h cublasLt.h)
  string(MAKE_C_IDENTIFIER PENSTOCK_INCLUDE_${header} variable)
  find_path(${variable} ${header} HINTS ${hints} PATH_SUFFIXES include targets/x86_64-linux/include)
  mark_as_advanced(${variable})
  if(${variable})
    list(APPEND PENSTOCK_CUDA_INCLUDES ${${variable}})
  else()
    list(APPEND PENSTOCK_CUDA_MISSING ${header})
  endif()
endforeach()
list(REMOVE_DUPLICATES PENSTOCK_CUDA_INCLUDES)
