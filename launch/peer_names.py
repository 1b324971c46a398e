"""The names of our settings in TRL, verl and OpenRLHF."""

from __future__ import annotations

PEERS = {
    "data.max_prompt_tokens": "max_prompt_length prompt_max_len",
    "data.path": "dataset_name train_files prompt_data",
    "data.verifier": "reward_funcs reward_function custom_reward_function",
    "data.held_out_path": "val_files eval_dataset",
    "data.question_field": "prompt_key input_key",
    "data.answer_field": "label_key",
    "model.path": "model_name_or_path pretrain",
    "rollout.prompts_per_step": "batch_size train_batch_size per_device_train_batch_size rollout_batch_size",
    "rollout.group_size": "num_generations n n_samples_per_prompt",
    "rollout.sampling.max_tokens": "max_new_tokens max_completion_length max_response_length generate_max_len response_length",
    "rollout.gpu_memory_fraction": "gpu_memory_utilization vllm_gpu_memory_utilization",
    "rollout.replicas": "vllm_num_engines num_engines",
    "rollout.senior_tensor_parallel": "tensor_model_parallel_size vllm_tensor_parallel_size tensor_parallel_size",
    "algo.kl_coef": "beta kl_loss_coef init_kl_coef",
    "algo.clip_low": "epsilon clip_ratio eps_clip clip_ratio_low",
    "algo.clip_high": "epsilon_high clip_ratio_high",
    "algo.aggregation": "loss_type loss_agg_mode",
    "algo.advantage": "adv_estimator advantage_estimator scale_rewards",
    "algo.mini_batches": "num_iterations ppo_mini_batch_size",
    "learner.lr": "learning_rate actor_learning_rate",
    "learner.lr_schedule": "lr_scheduler_type lr_scheduler",
    "learner.warmup_steps": "warmup_ratio lr_warmup_steps lr_warmup_ratio",
    "learner.grad_clip": "max_grad_norm max_norm",
    "learner.dtype": "bf16 torch_dtype param_dtype",
    "learner.lora.rank": "lora_r lora_rank",
    "learner.lora.alpha": "lora_alpha",
    "learner.micro_batch_tokens": "micro_train_batch_size ppo_micro_batch_size_per_gpu "
    "ppo_max_token_len_per_gpu gradient_accumulation_steps",
    "learner.offload_optimizer": "adam_offload",
    "learner.lora.targets": "target_modules lora_target_modules",
    "steps": "max_steps total_training_steps num_train_epochs total_epochs num_episodes epochs",
    "resume": "resume_from_checkpoint resume_mode load_checkpoint",
    "name": "run_name experiment_name wandb_run_name",
    "log.dir": "output_dir save_path default_local_dir",
    "log.wandb": "report_to project_name use_wandb",
    "checkpoint.save_every": "save_steps save_freq",
    "checkpoint.keep_last": "save_total_limit max_ckpt_num",
    "eval.every": "eval_steps test_freq",
}
"""The names of each of our settings in these projects. A name is found by the last part of the key that the user typed."""
KEYS = {peer: key for key, peers in PEERS.items() for peer in peers.split()}
"""Our key for each of these names."""
