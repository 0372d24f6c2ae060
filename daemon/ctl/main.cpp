#include <iostream>

#include "daemon/ctl/cli.hpp"

int main(int argc, char** argv) { return smarmd::run_smarmctl(argc, argv, std::cout, std::cerr); }
