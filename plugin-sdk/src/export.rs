//! What makes a crate a plugin: [`export!`](crate::export).

/// Exports types as the plugin that this crate is: any of `balancer`, `router` and `filter`, each once. It stands once, at
/// the top of the crate.
///
/// ```
/// # use gatewright_sdk::prelude::*;
/// # struct Canary;
/// # impl Router for Canary {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig) -> Result<Self> { Ok(Canary) }
/// #     fn route(&mut self, _: &RequestMut) -> Route { Route::CarryOn }
/// # }
/// # struct Stamp;
/// # impl Filter for Stamp {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig) -> Result<Self> { Ok(Stamp) }
/// # }
/// export!(router: Canary, filter: Stamp);
/// # fn main() { assert_eq!(plugin().kinds(), 6); }
/// ```
///
/// As WebAssembly this makes the exports of these kinds. Natively it makes `pub fn plugin()`, with which the gateway links
/// the plugin in. Each kind has a value of its own, also when two are the same type, and reads the whole configuration.
///
/// A type that is not of the kind does not compile:
///
/// ```compile_fail,E0277
/// # use gatewright_sdk::prelude::*;
/// struct Fastest;
/// export!(balancer: Fastest);
/// # fn main() {}
/// ```
///
/// Neither does a kind that there is not, or one twice, or none at all:
///
/// ```compile_fail
/// # use gatewright_sdk::prelude::*;
/// # struct Fastest;
/// export!(ballancer: Fastest);
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # use gatewright_sdk::prelude::*;
/// # struct Stamp;
/// # impl Filter for Stamp {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig) -> Result<Self> { Ok(Stamp) }
/// # }
/// export!(filter: Stamp, filter: Stamp);
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # use gatewright_sdk::prelude::*;
/// export!();
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($($what:tt)*) => {
        $crate::__export!(@parse [] [] [] $($what)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (@parse [] $router:tt $filter:tt balancer : $type:ty $(, $($rest:tt)*)?) => {
        $crate::__export!(@parse [$type] $router $filter $($($rest)*)?);
    };
    (@parse $balancer:tt [] $filter:tt router : $type:ty $(, $($rest:tt)*)?) => {
        $crate::__export!(@parse $balancer [$type] $filter $($($rest)*)?);
    };
    (@parse $balancer:tt $router:tt [] filter : $type:ty $(, $($rest:tt)*)?) => {
        $crate::__export!(@parse $balancer $router [$type] $($($rest)*)?);
    };
    (@parse [] [] []) => {
        ::core::compile_error!("say what is exported, for example `export!(balancer: Fastest);`");
    };
    (@parse $balancer:tt $router:tt $filter:tt) => {
        $crate::__export!(@native $balancer $router $filter);
        $crate::__export!(@wasm $balancer $router $filter);
    };
    (@parse $balancer:tt $router:tt $filter:tt balancer : $($rest:tt)*) => {
        ::core::compile_error!("`balancer` stands twice; a plugin exports one type of each kind");
    };
    (@parse $balancer:tt $router:tt $filter:tt router : $($rest:tt)*) => {
        ::core::compile_error!("`router` stands twice; a plugin exports one type of each kind");
    };
    (@parse $balancer:tt $router:tt $filter:tt filter : $($rest:tt)*) => {
        ::core::compile_error!("`filter` stands twice; a plugin exports one type of each kind");
    };
    (@parse $balancer:tt $router:tt $filter:tt $kind:ident : $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($kind), "` is no kind of plugin; there are `balancer`, `router` and `filter`"
        ));
    };
    (@parse $balancer:tt $router:tt $filter:tt $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "expected `kind: Type`, for example `balancer: Fastest`, but found `", ::core::stringify!($($rest)*), "`"
        ));
    };

    (@type [$type:ty]) => { $type };
    (@type []) => { $crate::__private::Absent };

    (@bit [$type:ty] $bit:ident) => { $crate::__private::kind::$bit };
    (@bit [] $bit:ident) => { 0 };

    (@native $balancer:tt $router:tt $filter:tt) => {
        /// This plugin, to be linked into the gateway.
        #[cfg(not(target_arch = "wasm32"))]
        pub fn plugin() -> $crate::native::Plugin {
            $crate::native::Plugin::of::<
                $crate::__export!(@type $balancer),
                $crate::__export!(@type $router),
                $crate::__export!(@type $filter),
            >(
                $crate::__export!(@bit $balancer BALANCER)
                    | $crate::__export!(@bit $router ROUTER)
                    | $crate::__export!(@bit $filter FILTER),
            )
        }
    };

    (@wasm $balancer:tt $router:tt $filter:tt) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::__private::wasm;

            static STATE: wasm::State<
                $crate::__export!(@type $balancer),
                $crate::__export!(@type $router),
                $crate::__export!(@type $filter),
            > = wasm::State::new(::core::option::Option::None);

            #[unsafe(no_mangle)]
            extern "C" fn gw_abi_1() {}

            #[unsafe(no_mangle)]
            extern "C" fn gw_alloc(size: usize) -> *mut u8 {
                wasm::allocate(size)
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn gw_free(address: *mut u8, size: usize) {
                // SAFETY: the gateway gives back what it was given.
                unsafe { wasm::free(address, size) }
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn gw_configure(kinds: u32, address: *const u8, size: usize) -> u64 {
                let kinds = kinds
                    & ($crate::__export!(@bit $balancer BALANCER)
                        | $crate::__export!(@bit $router ROUTER)
                        | $crate::__export!(@bit $filter FILTER));
                // SAFETY: the gateway has put so many bytes there.
                unsafe { wasm::configure(&STATE, kinds, address, size) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn gw_tick() -> u64 {
                wasm::tick(&STATE)
            }

            #[unsafe(no_mangle)]
            extern "C" fn gw_snapshot() -> u64 {
                wasm::snapshot(&STATE)
            }

            #[unsafe(no_mangle)]
            unsafe extern "C" fn gw_restore(address: *const u8, size: usize) -> i32 {
                // SAFETY: the gateway has put so many bytes there.
                unsafe { wasm::restore(&STATE, address, size) }
            }

            $crate::__export!(@balancer $balancer);
            $crate::__export!(@router $router);
            $crate::__export!(@filter $filter);
        };
    };

    (@balancer []) => {};
    (@balancer [$type:ty]) => {
        #[unsafe(no_mangle)]
        extern "C" fn gw_table() -> *const $crate::__private::Header {
            wasm::table()
        }

        #[unsafe(no_mangle)]
        extern "C" fn gw_pick(attempt: u32) -> i64 {
            wasm::pick(&STATE, attempt)
        }

        #[unsafe(no_mangle)]
        extern "C" fn gw_outcome(endpoint: u32, status: u32, attempt: u32, latency_us: u64, bytes: u64) {
            wasm::outcome(&STATE, endpoint, status, attempt, latency_us, bytes);
        }

        #[unsafe(no_mangle)]
        extern "C" fn gw_endpoints_changed() {
            wasm::endpoints_changed(&STATE);
        }
    };

    (@router []) => {};
    (@router [$type:ty]) => {
        #[unsafe(no_mangle)]
        extern "C" fn gw_route() -> i64 {
            wasm::route(&STATE)
        }
    };

    (@filter []) => {};
    (@filter [$type:ty]) => {
        #[unsafe(no_mangle)]
        extern "C" fn gw_on_request() -> i64 {
            wasm::on_request(&STATE)
        }

        #[unsafe(no_mangle)]
        extern "C" fn gw_on_response() -> i64 {
            wasm::on_response(&STATE)
        }

        #[unsafe(no_mangle)]
        extern "C" fn gw_on_fetch() -> i64 {
            wasm::on_fetch(&STATE)
        }
    };
}
