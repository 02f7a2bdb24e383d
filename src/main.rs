//! The `denyd` program: everything is in the library.

fn main() -> std::process::ExitCode {
    denyd::main()
}
