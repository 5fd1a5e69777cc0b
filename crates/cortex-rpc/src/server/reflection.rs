//! Server reflection, v1 and v1alpha, over the descriptor pools that the process holds anyway.
//!
//! tonic-reflection's own server copies every descriptor per server and version, and answers nothing
//! about extensions; its message types are what is used here.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use prost_reflect::{DescriptorPool, FileDescriptor};
use tonic::{Code, Request, Response, Status, Streaming};

/// What reflection knows: the services of this server, and where their files are.
#[derive(Debug, Clone)]
pub(crate) struct Reflection {
    services: Arc<Vec<String>>,
    pools: Arc<Vec<DescriptorPool>>,
}

/// Why a question has no answer. It is told within the stream, which goes on.
struct NotFound(String);

impl Reflection {
    pub(crate) fn new(mut services: Vec<String>, pools: Vec<DescriptorPool>) -> Self {
        services.sort();
        Self { services: Arc::new(services), pools: Arc::new(pools) }
    }

    fn file(&self, find: impl Fn(&DescriptorPool) -> Option<FileDescriptor>) -> Option<Vec<u8>> {
        self.pools.iter().find_map(find).map(|file| file.encode_to_vec())
    }

    fn file_by_name(&self, name: &str) -> Result<Vec<u8>, NotFound> {
        self.file(|pool| pool.get_file_by_name(name))
            .ok_or_else(|| NotFound(format!("no file '{name}'")))
    }

    fn file_with_symbol(&self, symbol: &str) -> Result<Vec<u8>, NotFound> {
        self.file(|pool| symbol_in(pool, symbol))
            .ok_or_else(|| NotFound(format!("no symbol '{symbol}'")))
    }

    fn file_with_extension(&self, message: &str, number: i32) -> Result<Vec<u8>, NotFound> {
        let file = u32::try_from(number).ok().and_then(|number| {
            self.file(|pool| {
                let extension = pool.get_message_by_name(message)?.get_extension(number)?;
                Some(extension.parent_file())
            })
        });
        file.ok_or_else(|| NotFound(format!("no extension {number} of '{message}'")))
    }

    fn extension_numbers(&self, message: &str) -> Result<Vec<i32>, NotFound> {
        let known = self.pools.iter().filter_map(|pool| pool.get_message_by_name(message));
        let mut found = false;
        let mut numbers = Vec::new();
        for message in known {
            found = true;
            numbers.extend(message.extensions().filter_map(|e| i32::try_from(e.number()).ok()));
        }
        numbers.sort_unstable();
        numbers.dedup();
        found.then_some(numbers).ok_or_else(|| NotFound(format!("no message '{message}'")))
    }
}

/// The file that defines `symbol`: a service, a method, a message, a field, an enum or an extension.
fn symbol_in(pool: &DescriptorPool, symbol: &str) -> Option<FileDescriptor> {
    let whole = || {
        pool.get_service_by_name(symbol)
            .map(|d| d.parent_file())
            .or_else(|| pool.get_message_by_name(symbol).map(|d| d.parent_file()))
            .or_else(|| pool.get_enum_by_name(symbol).map(|d| d.parent_file()))
            .or_else(|| pool.get_extension_by_name(symbol).map(|d| d.parent_file()))
    };
    let part = || {
        let (parent, name) = symbol.rsplit_once('.')?;
        let method = || {
            let service = pool.get_service_by_name(parent)?;
            service.methods().any(|m| m.name() == name).then(|| service.parent_file())
        };
        let field = || {
            let message = pool.get_message_by_name(parent)?;
            message.get_field_by_name(name).map(|_| message.parent_file())
        };
        method().or_else(field)
    };
    whole().or_else(part)
}

/// Both versions of the protocol have the same messages under two names.
macro_rules! version {
    ($version:ident) => {
        pub(crate) mod $version {
            use tonic_reflection::pb::$version::{
                ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse,
                ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
                ServiceResponse, server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
                server_reflection_server::ServerReflection,
            };

            use super::*;

            fn answer(
                known: &Reflection,
                question: &MessageRequest,
            ) -> Result<MessageResponse, NotFound> {
                let file = |bytes| {
                    let file_descriptor_proto = vec![bytes];
                    MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                        file_descriptor_proto,
                    })
                };
                Ok(match question {
                    MessageRequest::FileByFilename(name) => file(known.file_by_name(name)?),
                    MessageRequest::FileContainingSymbol(name) => {
                        file(known.file_with_symbol(name)?)
                    }
                    MessageRequest::FileContainingExtension(asked) => file(
                        known
                            .file_with_extension(&asked.containing_type, asked.extension_number)?,
                    ),
                    MessageRequest::AllExtensionNumbersOfType(name) => {
                        MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                            extension_number: known.extension_numbers(name)?,
                            base_type_name: name.clone(),
                        })
                    }
                    MessageRequest::ListServices(_) => {
                        let named = |name: &String| ServiceResponse { name: name.clone() };
                        let service = known.services.iter().map(named).collect();
                        MessageResponse::ListServicesResponse(ListServiceResponse { service })
                    }
                })
            }

            fn respond(
                known: &Reflection,
                request: ServerReflectionRequest,
            ) -> ServerReflectionResponse {
                let answered = match &request.message_request {
                    Some(question) => answer(known, question),
                    None => Err(NotFound("the request asks nothing".to_owned())),
                };
                let message = answered.unwrap_or_else(|NotFound(error_message)| {
                    let error_code = Code::NotFound as i32;
                    MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })
                });
                ServerReflectionResponse {
                    valid_host: request.host.clone(),
                    original_request: Some(request),
                    message_response: Some(message),
                }
            }

            #[tonic::async_trait]
            impl ServerReflection for Reflection {
                type ServerReflectionInfoStream = Pin<
                    Box<
                        dyn Stream<Item = Result<ServerReflectionResponse, Status>>
                            + Send
                            + 'static,
                    >,
                >;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let known = self.clone();
                    let questions = request.into_inner();
                    let answers = questions.map(move |request| Ok(respond(&known, request?)));
                    Ok(Response::new(answers.boxed()))
                }
            }
        }
    };
}

version!(v1);
version!(v1alpha);
