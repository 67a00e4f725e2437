# Stand-ins for cuDNN, cuBLASLt and NVML on the stand-in for the CUDA runtime, and the tests of the files that call them. Included by
# CMakeLists.txt here, after cuda_stand_in. Target: cuda_stand_in_libraries, in the place of stage_server/device/cuda/libraries.c.
set(cuda ${PROJECT_SOURCE_DIR}/stage_server/device/cuda)
set(cuda_tests ${PROJECT_SOURCE_DIR}/tests/unit/device/cuda)

add_library(cuda_stand_in_libraries STATIC cublaslt.cpp cudnn.cpp cudnn_compute.cpp libraries.c)
set_target_properties(cuda_stand_in_libraries PROPERTIES CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS ON)
set_source_files_properties(cublaslt.cpp cudnn_compute.cpp PROPERTIES COMPILE_OPTIONS -O2)
target_link_libraries(cuda_stand_in_libraries PUBLIC cuda_stand_in model base)

foreach(name convolution_plans matmul)
  add_executable(test.device.cuda.${name} ${cuda_tests}/test_${name}.c
    ${cuda}/convolution_plans.c ${cuda}/graph.c ${cuda}/matmul.c ${cuda}/status.c)
  set_target_properties(test.device.cuda.${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(test.device.cuda.${name} PRIVATE cuda_stand_in_libraries model base PkgConfig::CMOCKA m)
  add_test(NAME unit.device.cuda.${name} COMMAND test.device.cuda.${name})
  set_tests_properties(unit.device.cuda.${name} PROPERTIES LABELS unit TIMEOUT 180)
endforeach()

# The real libraries, where they are installed: no stand-in, and no GPU either. It needs the toolkit's headers alone.
add_executable(test.device.cuda.libraries ${cuda_tests}/test_libraries.c ${cuda}/libraries.c ${cuda}/nvml.c)
target_include_directories(test.device.cuda.libraries SYSTEM PRIVATE ${PENSTOCK_CUDA_INCLUDE})
target_include_directories(test.device.cuda.libraries PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(test.device.cuda.libraries PRIVATE base Threads::Threads PkgConfig::CMOCKA m ${CMAKE_DL_LIBS})
add_test(NAME unit.device.cuda.libraries COMMAND test.device.cuda.libraries)
set_tests_properties(unit.device.cuda.libraries PROPERTIES LABELS unit TIMEOUT 60)
